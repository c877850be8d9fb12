// A bot on Telegraf 3 that polls and prints what the library prints.
const Telegraf = require("telegraf");

const bot = new Telegraf(process.env.BOT_TOKEN, { telegram: { apiRoot: process.env.TELEGRAM_API_URL } });
bot.launch({ polling: { timeout: 5 } });
