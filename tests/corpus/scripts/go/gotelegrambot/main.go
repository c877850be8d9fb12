// A bot on github.com/go-telegram/bot that polls and prints what the library prints.
package main

import (
	"context"
	"os"

	"github.com/go-telegram/bot"
)

func main() {
	b, err := bot.New(os.Getenv("BOT_TOKEN"), bot.WithServerURL(os.Getenv("TELEGRAM_API_URL")))
	if err != nil {
		panic(err)
	}
	b.Start(context.Background())
}
