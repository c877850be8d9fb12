"""A bot on aiogram 2 that polls and prints what the library prints."""

import logging
import os

from aiogram import Bot, Dispatcher, executor
from aiogram.bot.api import TelegramAPIServer

logging.basicConfig(level=logging.INFO)
server = TelegramAPIServer.from_base(os.environ["TELEGRAM_API_URL"])
executor.start_polling(Dispatcher(Bot(os.environ["BOT_TOKEN"], server=server)), timeout=5)
