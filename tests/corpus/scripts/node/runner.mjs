// A bot on @grammyjs/runner that polls and prints what the library prints.
import { run } from "@grammyjs/runner";
import { Bot } from "grammy";

run(new Bot(process.env.BOT_TOKEN, { client: { apiRoot: process.env.TELEGRAM_API_URL } }));
