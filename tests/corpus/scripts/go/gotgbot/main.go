// A bot on github.com/PaulSonOfLars/gotgbot/v2 that polls and prints what the library prints.
package main

import (
	"log"
	"os"

	"github.com/PaulSonOfLars/gotgbot/v2"
	"github.com/PaulSonOfLars/gotgbot/v2/ext"
)

func main() {
	api := &gotgbot.RequestOpts{APIURL: os.Getenv("TELEGRAM_API_URL")}
	client := &gotgbot.BaseBotClient{DefaultRequestOpts: api}
	bot, err := gotgbot.NewBot(os.Getenv("BOT_TOKEN"), &gotgbot.BotOpts{BotClient: client, RequestOpts: api})
	if err != nil {
		log.Fatal(err)
	}
	updater := ext.NewUpdater(ext.NewDispatcher(nil), nil)
	err = updater.StartPolling(bot, &ext.PollingOpts{
		GetUpdatesOpts: &gotgbot.GetUpdatesOpts{Timeout: 5, RequestOpts: &gotgbot.RequestOpts{APIURL: os.Getenv("TELEGRAM_API_URL"), Timeout: 10e9}},
	})
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("%s has been started...", bot.User.Username)
	updater.Idle()
}
