// An echo bot on Telegraf. Its polls always take up to 50 seconds: the library has no setting for that.
import { Telegraf } from "telegraf";

const bot = new Telegraf(process.env.BOT_TOKEN, { telegram: { apiRoot: process.env.TELEGRAM_API_URL } });

bot.on("text", (ctx) => ctx.reply(ctx.message.text));

process.once("SIGINT", () => bot.stop("SIGINT"));
process.once("SIGTERM", () => bot.stop("SIGTERM"));

bot.launch(() => console.log("polling started"));
