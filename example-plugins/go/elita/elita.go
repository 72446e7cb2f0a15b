// Package elita is for Elita plugins in Go: plain functions, and one call for each that tells the host about it.
//
//	package main
//
//	import "elita"
//
//	func init() {
//		elita.Action("my_application", "Greet", greet).
//			Describe("Greets someone").
//			Parameter("name", "string", "whom to greet")
//	}
//
//	func greet(call *elita.ActionCall) (string, error) {
//		name, err := call.Text("name")
//		return "hello, " + name, err
//	}
//
//	func main() {}
//
// What a function returns is the job's result, and has to be JSON. An error ends the job as failed with its message: a
// [Failure] with details, too, an answer of the host with the host's sentence. A panic ends it with the message and the
// stack of Go. Every call gets a fresh instance, so that nothing is kept in memory between two of them; main is not called.
//
// The host's functions are in the packages below this one, such as elita/builds. [Answer] makes what they return a value
// and an error.
package elita

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"elita/handler"
	_ "elita/internal/exports"
	exported "elita/internal/handler"
	offered "elita/internal/registration"
	"elita/jobs"
	"elita/log"
	"elita/registration"
	wit "elita/wit/types"
)

var (
	actions = map[[2]string]func(*ActionCall) (any, error){}
	hooks   = map[[2]string]func(*HookCall) (any, error){}
)

// Declaration is an action as it is declared: it can be described further.
type Declaration struct {
	application int
	action      int
}

// Action declares an action of an application, in an init function: the name of its endpoint, and the function that runs.
func Action[T any](application, name string, run func(*ActionCall) (T, error)) Declaration {
	actions[[2]string{application, name}] = func(call *ActionCall) (any, error) { return run(call) }
	at := -1
	for i := range offered.Actions {
		if offered.Actions[i].Application == application {
			at = i
		}
	}
	if at < 0 {
		at = len(offered.Actions)
		offered.Actions = append(offered.Actions, registration.ApplicationActions{Application: application})
	}
	its := &offered.Actions[at].Actions
	*its = append(*its, registration.Action{Name: name})
	return Declaration{at, len(*its) - 1}
}

func (d Declaration) of() *registration.Action { return &offered.Actions[d.application].Actions[d.action] }

// Describe says what the action does, in a sentence.
func (d Declaration) Describe(description string) Declaration {
	d.of().Description = description
	return d
}

// Parameter declares a parameter that every request must have. Its type describes the value for people, and is not
// enforced.
func (d Declaration) Parameter(name, kind, description string) Declaration {
	its := &d.of().Parameters
	*its = append(*its, registration.Parameter{Name: name, Type: kind, Description: description})
	return d
}

// OptionalParameter declares a parameter that a request may lack, so that people and forms know of it: the function looks
// for it when it runs, by [ActionCall.Has].
func (d Declaration) OptionalParameter(name, kind, description string) Declaration {
	return d.Parameter(name, kind+"?", description)
}

// Idempotent allows the host to run the action again when it died while the action ran.
func (d Declaration) Idempotent() Declaration {
	d.of().Idempotent = true
	return d
}

// TimeoutSeconds sets the wall-clock limit of a run, at least 1.
func (d Declaration) TimeoutSeconds(seconds uint32) Declaration {
	d.of().TimeoutSeconds = wit.Some(seconds)
	return d
}

// Hook declares a hook of an application, in an init function: the function runs when the named point is reached, and what
// it returns is recorded in the job.
func Hook[T any](application, name string, run func(*HookCall) (T, error)) {
	hooks[[2]string{application, name}] = func(call *HookCall) (any, error) { return run(call) }
	for i := range offered.Hooks {
		if its := &offered.Hooks[i]; its.Application == application {
			its.Hooks = append(its.Hooks, name)
			return
		}
	}
	offered.Hooks = append(offered.Hooks, registration.ApplicationHooks{Application: application, Hooks: []string{name}})
}

func init() {
	exported.Action = func(call handler.ActionCall) (string, *handler.Failure) {
		run, known := actions[[2]string{call.Application, call.Action}]
		if !known {
			return failed(fmt.Errorf("there is no action `%s`", call.Action))
		}
		return ended(run(actionCall(call)))
	}
	exported.Hook = func(call handler.HookCall) (string, *handler.Failure) {
		run, known := hooks[[2]string{call.Application, call.Hook}]
		if !known {
			return failed(fmt.Errorf("there is no hook `%s`", call.Hook))
		}
		return ended(run(&HookCall{call.Application, call.Hook, call.Job, []byte(call.Parameters)}))
	}
}

func ended(result any, err error) (string, *handler.Failure) {
	if err != nil {
		return failed(err)
	}
	text, err := text(result)
	if err != nil {
		return failed(err)
	}
	return text, nil
}

func failed(err error) (string, *handler.Failure) {
	why := handler.Failure{Message: err.Error(), Details: wit.None[string](), Trace: wit.None[string]()}
	var failure *Failure
	if errors.As(err, &failure) && failure.Details != nil {
		if details, problem := text(failure.Details); problem == nil {
			why.Details = wit.Some(details)
		} else {
			why.Trace = wit.Some("its details are left out, because they cannot be written as JSON: " + problem.Error())
		}
	}
	return "", &why
}

// A Failure ends the job as failed with this message. Details are kept in its error: anything that is JSON.
type Failure struct {
	Message string
	Details any
}

func (f *Failure) Error() string { return f.Message }

// Append adds an entry to the job's log, for its users to see: any JSON of at most 64 KiB. It returns the entry's number.
func Append(data any) (uint64, error) {
	text, err := text(data)
	if err != nil {
		return 0, err
	}
	return Answer(jobs.Append(text))
}

// Progress says in the job's log how far it is, from 0 to 100 percent, and what it does. It returns the entry's number.
func Progress(percent float64, status string) (uint64, error) {
	if !(percent >= 0 && percent <= 100) {
		return 0, fmt.Errorf("progress is a number from 0 to 100, and not %v", percent)
	}
	return Answer(jobs.Progress(uint8(percent), status))
}

// Logf writes a line to the server's log, for operators; the job's trace has it, too.
func Logf(level uint8, format string, values ...any) {
	log.Write(level, fmt.Sprintf(format, values...))
}

// Levels of Logf.
const (
	Trace = log.Level_Trace
	Debug = log.Level_Debug
	Info  = log.Level_Info
	Warn  = log.Level_Warn
	Error = log.Level_Error
)

// text is a value as JSON; what is nothing is null.
func text(value any) (string, error) {
	var written bytes.Buffer
	encoder := json.NewEncoder(&written)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return "", err
	}
	return string(bytes.TrimSuffix(written.Bytes(), []byte("\n"))), nil
}
