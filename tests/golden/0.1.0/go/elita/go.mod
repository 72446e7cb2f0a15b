module elita

go 1.25
