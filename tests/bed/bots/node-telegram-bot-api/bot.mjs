// An echo bot on node-telegram-bot-api 2.
import { Bot } from "node-telegram-bot-api";
import { run } from "node-telegram-bot-api/node";

const bot = new Bot(process.env.BOT_TOKEN, { apiRoot: process.env.TELEGRAM_API_URL });

bot.on("message", (ctx) => ctx.reply(ctx.message.text));

console.log("polling started");
await run(bot, { timeout: Number(process.env.POLL_SECONDS ?? 30) });
