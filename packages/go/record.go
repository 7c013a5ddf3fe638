package literllm

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// Extra holds fields that this version does not know, carried unchanged in both directions.
type Extra map[string]json.RawMessage

// decodeRecord reads a struct's known fields into it and the others into extra.
func decodeRecord(data []byte, record any, extra *Extra) error {
	if err := json.Unmarshal(data, record); err != nil {
		return err
	}
	var fields Extra
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	for _, field := range fieldsOf(reflect.TypeOf(record).Elem()) {
		delete(fields, field.name)
	}
	delete(fields, "object")
	*extra = nil
	if len(fields) > 0 {
		*extra = fields
	}
	return nil
}

// encodeRecord writes a struct's fields and those of extra. What is itself a record, or a list of them, is written once and stays as it is;
// encoding/json would look through it once more for every record around it.
func encodeRecord(record any, extra Extra) ([]byte, error) {
	value := reflect.ValueOf(record)
	out := []byte{'{'}
	for _, field := range fieldsOf(value.Type()) {
		value, err := value.FieldByIndexErr(field.index)
		if err != nil || field.omitEmpty && isEmpty(value) {
			continue
		}
		if out, err = appendField(out, field.key, value); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		if out, err = appendField(out, key, reflect.ValueOf(extra[name])); err != nil {
			return nil, err
		}
	}
	return append(out, '}'), nil
}

func appendField(out, key []byte, value reflect.Value) ([]byte, error) {
	if len(out) > 1 {
		out = append(out, ',')
	}
	return appendValue(append(append(out, key...), ':'), value)
}

var (
	marshaler = reflect.TypeFor[json.Marshaler]()
	// What somebody else has written is looked through.
	raw = reflect.TypeFor[json.RawMessage]()
)

func appendValue(out []byte, value reflect.Value) ([]byte, error) {
	kind, of := value.Kind(), value.Type()
	switch {
	case kind == reflect.Slice && of.Elem().Implements(marshaler) && !value.IsNil():
		out = append(out, '[')
		for i := range value.Len() {
			if i > 0 {
				out = append(out, ',')
			}
			var err error
			if out, err = appendValue(out, value.Index(i)); err != nil {
				return nil, err
			}
		}
		return append(out, ']'), nil
	case kind != reflect.Interface && of != raw && of.Implements(marshaler) && (kind != reflect.Pointer || !value.IsNil()):
		data, err := value.Interface().(json.Marshaler).MarshalJSON()
		return append(out, data...), err
	default:
		data, err := json.Marshal(value.Interface())
		return append(out, data...), err
	}
}

// isEmpty says what encoding/json says.
func isEmpty(value reflect.Value) bool {
	switch value.Kind() {
	case reflect.Slice, reflect.Map:
		return value.Len() == 0
	case reflect.Struct:
		return false
	default:
		return value.IsZero()
	}
}

// recordField is a field as it is in JSON, where key is its quoted name.
type recordField struct {
	name      string
	key       []byte
	omitEmpty bool
	index     []int
}

var knownFields sync.Map

// fieldsOf are a struct's fields, with those of structs embedded in it.
func fieldsOf(record reflect.Type) []recordField {
	if fields, ok := knownFields.Load(record); ok {
		return fields.([]recordField)
	}
	var fields []recordField
	for _, field := range reflect.VisibleFields(record) {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name != "" && name != "-" {
			fields = append(fields, recordField{name, []byte(`"` + name + `"`), options == "omitempty", field.Index})
		}
	}
	knownFields.Store(record, fields)
	return fields
}

// deref is what a pointer points at, or nothing.
func deref[T any](pointer *T) (value T) {
	if pointer != nil {
		value = *pointer
	}
	return value
}

// unlessEmpty points at a record that says something.
func unlessEmpty[T any](record T) *T {
	if reflect.ValueOf(record).IsZero() {
		return nil
	}
	return &record
}
