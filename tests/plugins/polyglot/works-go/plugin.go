// What works in Go, and what does not: tries one thing after the other, and returns what came of each.
package main

import (
	"crypto/rand"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"time"
	_ "time/tzdata"

	"elita"
)

// A run begins from the beginning: this is done again in each.
var begun = time.Now()

func init() {
	elita.Action("works", "Works", works).
		Describe("Tries what the guide says").
		Parameter("url", "url", "a server")
	elita.Hook("works", "BUILD_UPLOAD_SUCCESS", files)
}

// Reads the file of a build, and tries to write beside it.
func files(call *elita.HookCall) (any, error) {
	var build elita.BuildUploadSuccess
	if err := call.Read(&build); err != nil {
		return nil, err
	}
	file, err := os.Open(build.StorageDir + "/" + build.Filename)
	if err != nil {
		return nil, err
	}
	first := make([]byte, 2)
	if _, err := io.ReadFull(file, first); err != nil {
		return nil, err
	}
	beside := os.WriteFile(build.StorageDir+"/beside", nil, 0o600)
	return map[string]any{"first": string(first), "write": tried(beside)}, nil
}

func works(call *elita.ActionCall) (any, error) {
	url, err := call.Text("url")
	if err != nil {
		return nil, err
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		return nil, err
	}
	noon := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	_, offset := noon.Local().Zone()
	random := make([]byte, 8)
	if _, err := rand.Read(random); err != nil {
		return nil, err
	}
	began := time.Now()
	time.Sleep(60 * time.Millisecond)
	slept := time.Since(began)

	began = time.Now()
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() { time.Sleep(100 * time.Millisecond) })
	}
	both.Wait()
	together := time.Since(began) < 190*time.Millisecond

	_, request := http.Get(url)
	_, listing := os.ReadDir("/")
	_, dialled := net.DialTimeout("tcp", "127.0.0.1:1", time.Second)
	return map[string]any{
		"random":      hex.EncodeToString(random),
		"clock":       time.Now().Unix(),
		"slept":       slept.Milliseconds(),
		"begun":       time.Since(begun).Milliseconds(),
		"together":    together,
		"offset":      offset,
		"berlin":      noon.In(berlin).Hour(),
		"other_http":  tried(request),
		"write":       tried(os.WriteFile("/tmp/a", nil, 0o600)),
		"list":        tried(listing),
		"process":     tried(exec.Command("true").Run()),
		"socket":      tried(dialled),
		"environment": os.Environ(),
	}, nil
}

func tried(err error) string {
	if err == nil {
		return "it works"
	}
	return err.Error()
}

// The host calls what init has declared.
func main() {}
