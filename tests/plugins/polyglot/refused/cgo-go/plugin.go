// A plugin with a part in C.
package main

// static int press(void) { return 42; }
import "C"

import "elita"

func init() {
	elita.Action("my_application", "Press", func(*elita.ActionCall) (any, error) { return int(C.press()), nil }).
		Describe("Presses a widget")
}

func main() {}
