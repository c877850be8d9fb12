// A bot on puregram that polls and prints what the library prints.
const { Telegram } = require("puregram");

const telegram = Telegram.fromToken(process.env.BOT_TOKEN, { apiBaseUrl: `${process.env.TELEGRAM_API_URL}/bot` });
telegram.updates.startPolling();
