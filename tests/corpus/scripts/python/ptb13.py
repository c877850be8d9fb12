"""A bot on python-telegram-bot 13 that polls and prints what the library prints."""

import logging
import os

from telegram.ext import Updater

logging.basicConfig(format="%(asctime)s - %(name)s - %(levelname)s - %(message)s", level=logging.INFO)
updater = Updater(os.environ["BOT_TOKEN"], base_url=os.environ["TELEGRAM_API_URL"] + "/bot")
updater.start_polling(timeout=5)
updater.idle()
