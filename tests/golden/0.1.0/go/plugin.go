// An action that takes its time: it says how far it is, and stops when it is asked to. And a hook.
package main

import (
	"fmt"

	"elita"
	"elita/applications"
	"elita/jobs"
)

// How many widgets there are.
const stock = 1000

func init() {
	elita.Action("my_application", "DeleteWidgets", deleteWidgets).
		Describe("Deletes widgets").
		Parameter("testing", "boolean (string)", "do not delete widgets for real (true or false)").
		Parameter("count", "integer", "number of widgets to delete")
	elita.Hook("my_application", "BUILD_UPLOAD_SUCCESS", declareUploadedBuild)
}

type deletion struct {
	Application string `json:"application"`
	Deleted     uint32 `json:"deleted"`
	Testing     bool   `json:"testing"`
}

// Deletes widgets, one after the other. What it returns is the job's result.
func deleteWidgets(call *elita.ActionCall) (*deletion, error) {
	testing, err := call.Boolean("testing")
	if err != nil {
		return nil, err
	}
	count, err := widgetCount(call)
	if err != nil {
		return nil, err
	}
	application, err := elita.Answer(applications.Get(call.Application))
	if err != nil {
		return nil, err
	}

	deleted := uint32(0)
	if _, err := elita.Progress(0, "starting"); err != nil {
		return nil, err
	}
	for number := uint32(1); number <= count; number++ {
		if jobs.CancelRequested() {
			message := fmt.Sprintf("stopped before widget %d", number)
			return nil, &elita.Failure{Message: message, Details: map[string]uint32{"deleted": deleted}}
		}
		if number == (count+1)/2 {
			if _, err := elita.Progress(45, "frobnicating the foobar"); err != nil {
				return nil, err
			}
		}
		if testing {
			elita.Logf(elita.Debug, "would delete widget %d", number)
		} else {
			deleteWidget(number)
			deleted++
		}
	}
	if _, err := elita.Progress(100, "finished"); err != nil {
		return nil, err
	}
	return &deletion{application.Name, deleted, testing}, nil
}

func widgetCount(call *elita.ActionCall) (uint32, error) {
	count, err := call.Integer("count")
	if err == nil && count > stock {
		err = fmt.Errorf("there are %d widgets, %d cannot be deleted", stock, count)
	}
	return count, err
}

// Stands for the real work. The log is for operators; users see the job's entries.
func deleteWidget(number uint32) { elita.Logf(elita.Info, "deleting widget %d", number) }

// Tells the job of an upload which build it was.
func declareUploadedBuild(call *elita.HookCall) (any, error) {
	var build elita.BuildUploadSuccess
	if err := call.Read(&build); err != nil {
		return nil, err
	}
	_, err := elita.Append(map[string]string{"status": "declared", "build": build.BuildName})
	return nil, err
}

// The host calls what init has declared.
func main() {}
