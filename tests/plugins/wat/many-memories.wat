;; Takes a page in each of four memories in turn, for as long as it gets them: none of them is large by itself.

(memory $one 0)
(memory $two 0)
(memory $three 0)
(memory $four 0)
(func $run
    (loop $on
        (drop (memory.grow $one (i32.const 1)))
        (drop (memory.grow $two (i32.const 1)))
        (drop (memory.grow $three (i32.const 1)))
        (drop (memory.grow $four (i32.const 1)))
        (br $on)))
