// A bot on github.com/go-telegram-bot-api/telegram-bot-api/v5 that polls and prints what the library prints.
package main

import (
	"log"
	"os"

	tgbotapi "github.com/go-telegram-bot-api/telegram-bot-api/v5"
)

func main() {
	bot, err := tgbotapi.NewBotAPIWithAPIEndpoint(os.Getenv("BOT_TOKEN"), os.Getenv("TELEGRAM_API_URL")+"/bot%s/%s")
	if err != nil {
		log.Panic(err)
	}
	bot.Debug = os.Getenv("BOT_DEBUG") != ""
	log.Printf("Authorized on account %s", bot.Self.UserName)
	config := tgbotapi.NewUpdate(0)
	config.Timeout = 5
	for update := range bot.GetUpdatesChan(config) {
		log.Print(update.UpdateID)
	}
}
