package elita

import (
	"elita/types"
	wit "elita/wit/types"
)

// HostError is an answer of the host that did not do what it was asked.
type HostError struct {
	// Code is the case of types.Error, such as types.Error_NotFound.
	Code uint8
	// Message is a sentence for people.
	Message string
}

func (e *HostError) Error() string { return e.Message }

// Is lets errors.Is compare by the code: errors.Is(err, elita.NotFound).
func (e *HostError) Is(target error) bool {
	other, same := target.(*HostError)
	return same && other.Message == "" && other.Code == e.Code
}

// Answers of the host, for errors.Is.
var (
	NotFound      = &HostError{Code: types.Error_NotFound}
	AlreadyExists = &HostError{Code: types.Error_AlreadyExists}
	Invalid       = &HostError{Code: types.Error_Invalid}
	Denied        = &HostError{Code: types.Error_Denied}
	Conflict      = &HostError{Code: types.Error_Conflict}
	Unavailable   = &HostError{Code: types.Error_Unavailable}
	TimedOut      = &HostError{Code: types.Error_TimedOut}
	LimitExceeded = &HostError{Code: types.Error_LimitExceeded}
)

// Answer makes the answer of a host's function a value and an error:
//
//	build, err := elita.Answer(builds.Get("my_application", "124-master"))
func Answer[T any](result wit.Result[T, types.Error]) (T, error) {
	if result.IsOk() {
		return result.Ok(), nil
	}
	var none T
	return none, hostError(result.Err())
}

// Given is an argument or a member that is there, and None one that is not.
func Given[T any](value T) wit.Option[T] { return wit.Some(value) }

// None is an argument or a member that is not there.
func None[T any]() wit.Option[T] { return wit.None[T]() }

func hostError(answer types.Error) error {
	messages := [...]func() string{
		answer.NotFound, answer.AlreadyExists, answer.Invalid, answer.Denied, answer.Conflict, answer.Unavailable,
		answer.TimedOut, answer.LimitExceeded, answer.Other,
	}
	return &HostError{answer.Tag(), messages[answer.Tag()]()}
}
