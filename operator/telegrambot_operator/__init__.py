"""Keeps exactly one instance of each Telegram bot polling, and says why when it cannot."""
