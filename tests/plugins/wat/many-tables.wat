;; Adds 100 elements to each of two tables in turn, for as long as it gets them.

(table $one 0 funcref)
(table $two 0 funcref)
(func $run
    (loop $on
        (drop (table.grow $one (ref.null func) (i32.const 100)))
        (drop (table.grow $two (ref.null func) (i32.const 100)))
        (br $on)))
