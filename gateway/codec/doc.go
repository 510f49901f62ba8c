// Package codec is slotd's proto3-JSON: the bodies of the HTTP API, both ways.
//
// It reads strictly and writes deterministically. Reading accepts lowerCamelCase and snake_case names, 64-bit integers as
// strings or numbers and enums by name or number; it refuses unknown fields, wrong types, fields given twice in either
// spelling, two members of one oneof and enum numbers outside the table, each with a stable sentence that names the field
// in proto form. Writing yields compact JSON in declaration order: lowerCamelCase names, 64-bit integers as strings, enums
// by name, plain scalars, lists and maps always present, unset optional fields and messages left out.
//
// It covers what the message set uses: every scalar kind but float, maps with string keys, no groups, extensions or
// well-known types. It does not validate values; package messages does. Callers are gateway/rest and the command line.
// All functions are safe for concurrent use.
package codec
