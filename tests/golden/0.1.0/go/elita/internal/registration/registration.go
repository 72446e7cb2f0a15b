// Package registration is what the bindings call when the host asks what the plugin offers.
package registration

import "elita/registration"

// What the plugin offers, filled by the package elita.
var (
	Actions []registration.ApplicationActions
	Hooks   []registration.ApplicationHooks
)

func RegisterActions() []registration.ApplicationActions { return Actions }

func RegisterHooks() []registration.ApplicationHooks { return Hooks }
