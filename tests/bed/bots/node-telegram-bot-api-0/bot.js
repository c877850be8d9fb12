// An echo bot on node-telegram-bot-api 0.67, as most bots on that library still are.
const TelegramBot = require("node-telegram-bot-api");

const bot = new TelegramBot(process.env.BOT_TOKEN, {
  baseApiUrl: process.env.TELEGRAM_API_URL,
  polling: { params: { timeout: Number(process.env.POLL_SECONDS ?? 10) } },
});

bot.on("message", (message) => bot.sendMessage(message.chat.id, message.text));

console.log("polling started");
