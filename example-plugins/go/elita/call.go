package elita

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"elita/handler"
)

// Of a value in an error message.
const shownCharacters = 64

// ActionCall is a request to run an action.
type ActionCall struct {
	Application string
	Action      string
	Job         string
	// Attempt is 1, and more when an idempotent action is run again.
	Attempt uint32
	// User is who asked, for the record; empty: nobody did.
	User string
	// Parameters has all values of each name, in the order of the request.
	Parameters map[string][]string
}

func actionCall(call handler.ActionCall) *ActionCall {
	parameters := map[string][]string{}
	for _, parameter := range call.Parameters {
		parameters[parameter.F0] = append(parameters[parameter.F0], parameter.F1)
	}
	return &ActionCall{call.Application, call.Action, call.Job, call.Attempt, call.User.SomeOr(""), parameters}
}

// Has says whether a parameter is there. JSON's null is as good as missing.
func (c *ActionCall) Has(name string) bool {
	values := c.Parameters[name]
	return len(values) > 0 && !(len(values) == 1 && values[0] == "null")
}

// Text is the value of a parameter that must be there exactly once.
func (c *ActionCall) Text(name string) (string, error) {
	switch values := c.Parameters[name]; len(values) {
	case 0:
		return "", fmt.Errorf("parameter `%s` is missing", name)
	case 1:
		return values[0], nil
	default:
		return "", fmt.Errorf("parameter `%s`: given %d times, and one value is expected", name, len(values))
	}
}

// Boolean is a parameter that is true or false.
func (c *ActionCall) Boolean(name string) (bool, error) {
	value, err := c.Text(name)
	if err != nil {
		return false, err
	}
	switch strings.ToLower(value) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("parameter `%s`: `%s` is not true or false", name, shown(value))
}

var integer = regexp.MustCompile(`^[+-]?[0-9]+$`)

// Integer is a parameter that is an integer of 0 to 4294967295.
func (c *ActionCall) Integer(name string) (uint32, error) {
	value, err := c.Text(name)
	if err != nil {
		return 0, err
	}
	if integer.MatchString(value) {
		if number, err := strconv.ParseUint(strings.TrimPrefix(value, "+"), 10, 32); err == nil {
			return uint32(number), nil
		}
	}
	return 0, fmt.Errorf("parameter `%s`: `%s` is not an integer of 0 to 4294967295", name, shown(value))
}

// Value is an object or a list that was sent as JSON; anything else is a text, and nil is what is missing.
func (c *ActionCall) Value(name string) (any, error) {
	if !c.Has(name) {
		return nil, nil
	}
	text, err := c.Text(name)
	if err != nil || !strings.HasPrefix(text, "{") && !strings.HasPrefix(text, "[") {
		return text, err
	}
	var value any
	if json.Unmarshal([]byte(text), &value) != nil {
		return text, nil
	}
	return value, nil
}

// HookCall is a named point of an operation that was reached.
type HookCall struct {
	Application string
	Hook        string
	Job         string
	parameters  json.RawMessage
}

// Read reads the hook's parameters: into a struct such as [BuildUploadSuccess], one's own, or a map[string]any.
func (c *HookCall) Read(into any) error { return json.Unmarshal(c.parameters, into) }

// shown is a value as an error message shows it.
func shown(value string) string {
	characters := 0
	for i := range value {
		if characters == shownCharacters {
			return value[:i] + "…"
		}
		characters++
	}
	return value
}
