#!/bin/sh
# bindings.sh WIT_BINDGEN RUNTIME WIT: makes the bindings again, after the interface has changed. RUNTIME is the folder
# `src/pkg` of the crate wit-bindgen-go, of the same version. Packages get short names, and none is fetched from elsewhere.
set -eu
wit_bindgen=$1 runtime=$2 wit=$(realpath "$3")
cd "$(dirname "$0")"
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
"$wit_bindgen" go "$wit" --world plugin --pkg-name elita --out-dir "$made" >/dev/null 2>&1
rm -rf wit internal/exports
mkdir -p wit/runtime wit/types internal/exports
cp "$runtime"/wit/runtime/* wit/runtime/
cp "$runtime"/wit/types/option.go "$runtime"/wit/types/result.go "$runtime"/wit/types/tuple.go "$runtime"/wit/types/unit.go wit/types/
cp "$runtime"/LICENSE wit/LICENSE
patch --quiet wit/runtime/runtime.go <runtime.patch
cp "$made"/exports/wit_exports/wit_exports.go internal/exports/exports.go
for folder in "$made"/imports/*; do
    long=${folder##*/}
    short=$(echo "${long#elita_plugin_}" | tr -d _)
    rm -rf "$short"
    mkdir "$short"
    cp "$folder"/* "$short"/
    mv "$short"/wit_bindings.go "$short/$short.go"
    {
        printf 's|elita/imports/%s"|elita/%s"|g\n' "$long" "$short"
        printf 's|elita/exports/export_%s"|elita/internal/%s"|g\n' "$long" "$short"
        printf 's|\\bexport_%s\\.|of_%s.|g\n' "$long" "$short"
        printf 's|\\b%s\\b|%s|g\n' "$long" "$short"
    } >>"$made/names.sed"
done
generated=$(for folder in "$made"/imports/*; do long=${folder##*/} && echo "${long#elita_plugin_}" | tr -d _; done)
# shellcheck disable=SC2086 # names without blanks
find $generated wit internal/exports -name '*.go' -exec sed -i -f "$made/names.sed" \
    -e 's|go.bytecodealliance.org/pkg/wit/|elita/wit/|g' {} +
# The functions that are exported are in a package of the same name as their types.
sed -i -e 's|"elita/internal/\([a-z]*\)"|of_\1 "elita/internal/\1"|; s|^package wit_exports|package exports|' internal/exports/exports.go
# shellcheck disable=SC2086
grep -lZ '^\s*witRuntime ' $(printf './%s/*.go ' $generated) |
    xargs -0 sed -i 's|^\s*defer pinner.Unpin()|&\n\twitRuntime.Enter()\n\tdefer witRuntime.Leave()|'
# shellcheck disable=SC2086
go fmt ./internal/exports $(printf './%s ' $generated) >/dev/null
# What they were made for; a test compares it with the interface as it is.
wasm-tools component embed "$wit" --world plugin --dummy -o world.wasm
