// A bot on telebot (npm) that polls and prints what the library prints.
const TeleBot = require("telebot");

const bot = new TeleBot({ token: process.env.BOT_TOKEN, polling: { timeout: 5 } });
bot.api = `${process.env.TELEGRAM_API_URL}/bot${process.env.BOT_TOKEN}`;
bot.start();
