"""An echo bot on pyTelegramBotAPI (telebot)."""

import os

import telebot
from telebot import apihelper

apihelper.API_URL = os.environ["TELEGRAM_API_URL"] + "/bot{0}/{1}"
bot = telebot.TeleBot(os.environ["BOT_TOKEN"])


@bot.message_handler(func=lambda _: True)
def echo(message: telebot.types.Message) -> None:
    bot.reply_to(message, message.text)


if __name__ == "__main__":
    print("polling started", flush=True)
    bot.infinity_polling(long_polling_timeout=int(os.environ.get("POLL_SECONDS", "20")))
