// Package handler is what the bindings call when the host calls the plugin.
package handler

import (
	"elita/handler"
	"elita/wit/types"
)

// Run is set by the package elita.
var (
	Action func(handler.ActionCall) (string, *handler.Failure)
	Hook   func(handler.HookCall) (string, *handler.Failure)
)

func RunAction(call handler.ActionCall) wit_types.Result[string, handler.Failure] {
	return result(Action(call))
}

func RunHook(call handler.HookCall) wit_types.Result[string, handler.Failure] {
	return result(Hook(call))
}

func result(json string, why *handler.Failure) wit_types.Result[string, handler.Failure] {
	if why != nil {
		return wit_types.Err[string, handler.Failure](*why)
	}
	return wit_types.Ok[string, handler.Failure](json)
}
