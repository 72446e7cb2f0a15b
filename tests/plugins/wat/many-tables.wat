;; Adds 100 elements to each of two tables in turn, again and again. None of them can have more than 1500.

(table $one 0 1500 funcref)
(table $two 0 1500 funcref)
(func $run
    (loop $on
        (drop (table.grow $one (ref.null func) (i32.const 100)))
        (drop (table.grow $two (ref.null func) (i32.const 100)))
        (br $on)))
