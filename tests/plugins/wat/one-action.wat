;; What every plugin needs, laid out by hand: it registers one action, `Bomb` of application `hostile`, which calls
;; the function `$run`. Tests put the fields of another file behind these to make a module of both.

;; The first 256 bytes are constants in the layout of the canonical ABI, all numbers little-endian.
(memory $main (export "memory") 1)
;; At 0, what register-actions answers: a list at 16 of one record.
(data (i32.const 0) "\10\00\00\00" "\01\00\00\00")
;; At 8, what register-hooks answers: an empty list.
(data (i32.const 8) "\00\00\00\00" "\00\00\00\00")
;; At 16, application-actions: a name at 128 of 7 bytes, a list at 32 of one record.
(data (i32.const 16) "\80\00\00\00" "\07\00\00\00" "\20\00\00\00" "\01\00\00\00")
;; At 32, action: a name at 144 of 4 bytes. No description, no parameters, not idempotent, no timeout.
(data (i32.const 32) "\90\00\00\00" "\04\00\00\00")
;; At 96, what both handlers answer: ok, with a text at 160 of 4 bytes.
(data (i32.const 96) "\00\00\00\00" "\a0\00\00\00" "\04\00\00\00")
(data (i32.const 128) "hostile")
(data (i32.const 144) "Bomb")
(data (i32.const 160) "null")

(func (export "elita:plugin/registration@0.1.0#register-actions") (result i32)
    (i32.const 0))
(func (export "elita:plugin/registration@0.1.0#register-hooks") (result i32)
    (i32.const 8))

;; The parameters are the record action-call, flat.
(func (export "elita:plugin/handler@0.1.0#run-action")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    (call $run)
    (i32.const 96))
(func (export "elita:plugin/handler@0.1.0#run-hook")
    (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    (i32.const 96))

;; Where the host puts what it hands over: behind the constants, and nothing is ever freed.
(global $free (mut i32) (i32.const 256))
(func (export "cabi_realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
    ;; free = (free + align - 1) & -align
    (global.set $free
        (i32.and
            (i32.sub (i32.add (global.get $free) (local.get $align)) (i32.const 1))
            (i32.sub (i32.const 0) (local.get $align))))
    (global.get $free)
    (global.set $free (i32.add (global.get $free) (local.get $size))))
