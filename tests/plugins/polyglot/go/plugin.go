// What `misbehave` does, as far as languages differ in it: how a run fails, what one costs, and how values look.
package main

import (
	"errors"
	"fmt"
	"strings"

	"elita"
	"elita/builds"
	"elita/jobs"
)

func init() {
	elita.Action("hostile", "Noop", func(*elita.ActionCall) (any, error) { return nil, nil }).Describe("Does nothing")
	elita.Action("hostile", "Ask", func(*elita.ActionCall) (bool, error) { return jobs.CancelRequested(), nil }).
		Describe("Asks once whether to stop")
	elita.Action("hostile", "Fail", fail).Describe("Fails as is to be expected")
	elita.Action("hostile", "Panic", func(*elita.ActionCall) (any, error) { onTheWayDown(); return nil, nil }).
		Describe("Fails as nobody expects")
	elita.Action("hostile", "Deadlock", deadlock).Describe("Waits for what never comes")
	elita.Action("hostile", "Late", late).Describe("Has another goroutine do it")
	elita.Action("hostile", "LateFail", lateFail).Describe("Has another goroutine fail, as is to be expected")
	elita.Action("hostile", "LatePanic", latePanic).Describe("Has another goroutine fail, as nobody expects")
	elita.Action("hostile", "NotAwaited", notAwaited).Describe("Starts what fails after a while, and does not wait for it")
	elita.Hook("hostile", "BUILD_UPLOAD_SUCCESS", lateHook)
	elita.Action("hostile", "ThrowsCause", throwsCause).Describe("Returns an error with a cause")
	elita.Action("hostile", "OddDetails", oddDetails).Describe("Fails with details that are not JSON")
	elita.Action("hostile", "OddProgress", oddProgress).Describe("Is further than the end")
	elita.Action("hostile", "Given", given).
		Describe("Returns its optional parameters").
		OptionalParameter("text", "string", "a text").
		OptionalParameter("truth", "boolean", "yes or no").
		OptionalParameter("number", "integer", "a number")
	elita.Action("hostile", "Collect", collect).Describe("Makes garbage between calls of the host, and in them")
}

func fail(*elita.ActionCall) (any, error) {
	return nil, &elita.Failure{
		Message: "the widget press is jammed",
		Details: map[string]any{"press": 42, "widgets": []string{"left", "right"}},
	}
}

//go:noinline
func onTheWayDown() { deepInsideThePlugin() }

//go:noinline
func deepInsideThePlugin() { panic("the widget press is jammed: 42") }

func deadlock(*elita.ActionCall) (any, error) { return <-make(chan any), nil }

func late(*elita.ActionCall) (string, error) {
	done := make(chan string)
	go func() { done <- "late" }()
	return <-done, nil
}

func lateFail(call *elita.ActionCall) (any, error) {
	failed := make(chan error)
	go func() {
		_, err := fail(call)
		failed <- err
	}()
	return nil, <-failed
}

func latePanic(*elita.ActionCall) (any, error) {
	done := make(chan any)
	go func() {
		onTheWayDown()
		close(done)
	}()
	return <-done, nil
}

func notAwaited(*elita.ActionCall) (string, error) {
	go func() {
		elita.Append(map[string]any{"status": "too late"})
		onTheWayDown()
	}()
	return "early", nil
}

// By what the build is called.
func lateHook(call *elita.HookCall) (any, error) {
	var build elita.BuildUploadSuccess
	if err := call.Read(&build); err != nil {
		return nil, err
	}
	switch build.BuildName {
	case "late":
		return late(nil)
	case "late-fail":
		return lateFail(nil)
	}
	return nil, nil
}

func throwsCause(*elita.ActionCall) (any, error) {
	return nil, fmt.Errorf("no widgets today: %w", errors.New("the widget press is jammed: 42"))
}

func oddDetails(*elita.ActionCall) (any, error) {
	return nil, &elita.Failure{Message: "the widget press is jammed", Details: func() {}}
}

func oddProgress(*elita.ActionCall) (uint64, error) { return elita.Progress(300, "too far") }

func given(call *elita.ActionCall) ([]any, error) {
	found := []any{"missing", "missing", "missing", "missing"}
	var problems [4]error
	if call.Has("text") {
		found[0], problems[0] = call.Text("text")
	}
	if call.Has("truth") {
		found[1], problems[1] = call.Boolean("truth")
	}
	if call.Has("number") {
		found[2], problems[2] = call.Integer("number")
	}
	if call.Has("value") {
		found[3], problems[3] = call.Value("value")
	}
	return found, errors.Join(problems[:]...)
}

// What the host hands over stays as it was, whatever is collected meanwhile: 700 MB go through a memory of 256 MiB.
func collect(call *elita.ActionCall) (int, error) {
	if _, err := elita.Answer(builds.Create(call.Application, "kept", `{"a":"`+strings.Repeat("x", 60_000)+`"}`)); err != nil {
		return 0, err
	}
	var kept []string
	for number := range 5_000 {
		build, err := elita.Answer(builds.Get(call.Application, "kept"))
		if err != nil {
			return 0, err
		}
		if number%50 == 0 {
			kept = append(kept, build.Attributes)
		}
		_ = make([]byte, 80_000)
	}
	same := 0
	for _, one := range kept {
		if one == kept[0] && strings.Count(one, "x") == 60_000 {
			same++
		}
	}
	return same, nil
}

// The host calls what init has declared.
func main() {}
