"""A bot on pyTelegramBotAPI 3 that polls and prints what the library prints."""

import os

import telebot
from telebot import apihelper

apihelper.API_URL = os.environ["TELEGRAM_API_URL"] + "/bot{0}/{1}"
telebot.TeleBot(os.environ["BOT_TOKEN"]).polling(none_stop=True, timeout=5)
