;; As little as a plugin of extism can do that takes a text and answers with `null`: what Elita's `Noop` does. No
;; language and no library is in the way, which favours extism.
(module
    (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
    (import "extism:host/env" "store_u8" (func $store (param i64 i32)))
    (import "extism:host/env" "output_set" (func $output (param i64 i64)))
    (memory (export "memory") 1)
    (func (export "noop") (result i32)
        (local $at i64)
        (local.set $at (call $alloc (i64.const 4)))
        (call $store (local.get $at) (i32.const 110))
        (call $store (i64.add (local.get $at) (i64.const 1)) (i32.const 117))
        (call $store (i64.add (local.get $at) (i64.const 2)) (i32.const 108))
        (call $store (i64.add (local.get $at) (i64.const 3)) (i32.const 108))
        (call $output (local.get $at) (i64.const 4))
        (i32.const 0)))
