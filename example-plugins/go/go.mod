module plugins/widgets

go 1.25

require elita v0.0.0

replace elita => ./elita
