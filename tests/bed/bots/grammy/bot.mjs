// An echo bot on grammY with its default behaviour: a 409 ends the process.
import { Bot } from "grammy";

const bot = new Bot(process.env.BOT_TOKEN, { client: { apiRoot: process.env.TELEGRAM_API_URL } });

bot.on("message:text", (ctx) => ctx.reply(ctx.message.text));

process.once("SIGINT", () => bot.stop());
process.once("SIGTERM", () => bot.stop());

await bot.start({
  timeout: Number(process.env.POLL_SECONDS ?? 30),
  onStart: (me) => console.log(`@${me.username}: polling started`),
});
