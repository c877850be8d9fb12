// A bot on GramIO that polls and prints what the library prints.
import { Bot } from "gramio";

const bot = new Bot(process.env.BOT_TOKEN, { api: { baseURL: `${process.env.TELEGRAM_API_URL}/bot` } });
bot.start();
