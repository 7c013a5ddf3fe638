package literllm

import (
	"bytes"
	"encoding/json"
	"reflect"
	"sort"
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
	for _, name := range fieldNames(reflect.TypeOf(record).Elem()) {
		delete(fields, name)
	}
	delete(fields, "object")
	*extra = nil
	if len(fields) > 0 {
		*extra = fields
	}
	return nil
}

// encodeRecord writes a struct's fields and those of extra.
func encodeRecord(record any, extra Extra) ([]byte, error) {
	data, err := json.Marshal(record)
	if err != nil || len(extra) == 0 {
		return data, err
	}
	names := make([]string, 0, len(extra))
	for name := range extra {
		names = append(names, name)
	}
	sort.Strings(names)
	out := bytes.NewBuffer(data[:len(data)-1])
	for _, name := range names {
		if out.Len() > 1 {
			out.WriteByte(',')
		}
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		out.Write(key)
		out.WriteByte(':')
		out.Write(extra[name])
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

var knownFields sync.Map

// fieldNames are the JSON names of a struct's fields.
func fieldNames(record reflect.Type) []string {
	if names, ok := knownFields.Load(record); ok {
		return names.([]string)
	}
	var names []string
	for i := range record.NumField() {
		name, _, _ := strings.Cut(record.Field(i).Tag.Get("json"), ",")
		if name != "" && name != "-" {
			names = append(names, name)
		}
	}
	knownFields.Store(record, names)
	return names
}
