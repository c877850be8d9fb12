// A bot on github.com/mymmrac/telego that polls and prints what the library prints.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/mymmrac/telego"
)

func main() {
	bot, err := telego.NewBot(os.Getenv("BOT_TOKEN"), telego.WithAPIServer(os.Getenv("TELEGRAM_API_URL")),
		telego.WithDefaultLogger(false, true))
	if err != nil {
		panic(err)
	}
	updates, err := bot.UpdatesViaLongPolling(context.Background(), &telego.GetUpdatesParams{Timeout: 5})
	if err != nil {
		panic(err)
	}
	for update := range updates {
		fmt.Println(update.UpdateID)
	}
}
