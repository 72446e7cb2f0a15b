;; Takes a page in each of four memories in turn, again and again. None of them can be larger than 100 pages, which
;; is 6.25 MiB.

(memory $one 0 100)
(memory $two 0 100)
(memory $three 0 100)
(memory $four 0 100)
(func $run
    (loop $on
        (drop (memory.grow $one (i32.const 1)))
        (drop (memory.grow $two (i32.const 1)))
        (drop (memory.grow $three (i32.const 1)))
        (drop (memory.grow $four (i32.const 1)))
        (br $on)))
