// Greets people, and notes builds.
package main

import (
	"errors"

	"elita"
	"elita/builds"
)

func init() {
	elita.Action("my_application", "MyAction", greet).
		Describe("Greets someone").
		Parameter("name", "string", "whom to greet")
	elita.Hook("my_application", "BUILD_UPLOAD_SUCCESS", noteBuild)
}

func greet(call *elita.ActionCall) (string, error) {
	name, err := call.Text("name")
	if err != nil {
		return "", err
	}
	if _, err := elita.Append(map[string]string{"status": "greeting", "whom": name}); err != nil {
		return "", err
	}
	_, err = elita.Answer(builds.Get(call.Application, name))
	if errors.Is(err, elita.NotFound) {
		return "hello, stranger called " + name, nil
	}
	return "hello, " + name, err
}

func noteBuild(call *elita.HookCall) (any, error) {
	var build elita.BuildUploadSuccess
	if err := call.Read(&build); err != nil {
		return nil, err
	}
	_, err := elita.Append(map[string]string{"status": "noted", "build": build.BuildName})
	return nil, err
}

// The host calls what init has declared.
func main() {}
