"""The TelegramBot resource as users write it, and the CRD that is generated from it."""
