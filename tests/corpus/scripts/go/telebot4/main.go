// A bot on gopkg.in/telebot.v4 that polls and prints what the library prints.
package main

import (
	"log"
	"os"
	"time"

	tele "gopkg.in/telebot.v4"
)

func main() {
	bot, err := tele.NewBot(tele.Settings{
		Verbose: true, // without it the library prints nothing at all
		URL:     os.Getenv("TELEGRAM_API_URL"),
		Token:   os.Getenv("BOT_TOKEN"),
		Poller:  &tele.LongPoller{Timeout: 5 * time.Second},
	})
	if err != nil {
		log.Fatal(err)
	}
	bot.Start()
}
