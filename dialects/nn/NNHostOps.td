//===- NNHostOps.td - operations on strings, sequences, optionals -*- tablegen -*-===//
//
// Each is a call into the host library by its mnemonic (runtime/ops), see docs/rationale/host-values.md.
// Data movement on strings (gather, concat, slice, where, ...) needs no operation of its own: the importer moves
// indices and takes the strings at the end (`string_take`).
//
//===----------------------------------------------------------------------===//
#ifndef NN_HOST_OPS_TD
#define NN_HOST_OPS_TD

include "dialects/nn/NNBase.td"

//===----------------------------------------------------------------------===//
// Strings
//===----------------------------------------------------------------------===//

def NN_StringConcatOp : NN_HostOp<"string_concat"> {
  let summary = "x followed by y, with broadcasting.";
  let arguments = (ins NN_StringTensor:$x, NN_StringTensor:$y);
  let results = (outs NN_StringTensor:$result);
}
def NN_StringEqualOp : NN_HostOp<"string_equal"> {
  let summary = "Whether x and y are the same bytes, with broadcasting.";
  let arguments = (ins NN_StringTensor:$x, NN_StringTensor:$y);
  let results = (outs NN_Tensor:$result);
}
def NN_StringSplitOp : NN_HostOp<"string_split"> {
  let summary = "Parts of each string along a new last dimension (padded with empty strings), and their number.";
  let description = [{ Without a delimiter: at runs of white space. At most `maxsplit` splits where it is given. }];
  let arguments = (ins NN_StringTensor:$x, StrAttr:$delimiter, OptionalAttr<I64Attr>:$maxsplit);
  let results = (outs NN_StringTensor:$substrings, NN_Tensor:$counts);
}
def NN_StringNormalizeOp : NN_HostOp<"string_normalize"> {
  let summary = "Strings ([C] or [1, C]) without the stop words, in upper or lower case as `case_change` says.";
  let arguments = (ins NN_StringTensor:$x, StrAttr:$case_change, UnitAttr:$case_sensitive, StrAttr:$locale,
                       StrArrayAttr:$stopwords);
  let results = (outs NN_StringTensor:$result);
}
def NN_RegexFullMatchOp : NN_HostOp<"regex_full_match"> {
  let summary = "Whether the whole string matches a regular expression of RE2.";
  let arguments = (ins NN_StringTensor:$x, StrAttr:$pattern);
  let results = (outs NN_Tensor:$result);
}
def NN_StringPoolOp : NN_HostOp<"string_pool"> {
  let summary = "All strings of the operands in one vector.";
  let arguments = (ins Variadic<NN_StringTensor>:$inputs);
  let results = (outs NN_StringTensor:$result);
}
def NN_StringTakeOp : NN_HostOp<"string_take"> {
  let summary = "The strings of x (in row-major order) at `indices`, in the shape of the indices.";
  let arguments = (ins NN_StringTensor:$x, NN_Tensor:$indices);
  let results = (outs NN_StringTensor:$result);
}
def NN_StringLookupOp : NN_HostOp<"string_lookup"> {
  let summary = "Position (i64) of each string in `keys`, -1 where it is none of them.";
  let arguments = (ins NN_StringTensor:$x, StrArrayAttr:$keys);
  let results = (outs NN_Tensor:$result);
}
def NN_StringToNumberOp : NN_HostOp<"string_to_number"> {
  let summary = "Numbers from their decimal text by the rules of ONNX Cast.";
  let arguments = (ins NN_StringTensor:$x, TypeAttr:$to);
  let results = (outs NN_Tensor:$result);
}
def NN_NumberToStringOp : NN_HostOp<"number_to_string"> {
  let summary = "The shortest decimal text of each number.";
  let arguments = (ins NN_Tensor:$x);
  let results = (outs NN_StringTensor:$result);
}
def NN_ImageDecodeOp : NN_HostOp<"image_decode"> {
  let summary = "Pixels [height, width, channels] of an encoded image (`RGB`, `BGR` or `Grayscale`).";
  let arguments = (ins NN_Tensor:$data, StrAttr:$pixel_format);
  let results = (outs NN_Tensor:$result);
}

//===----------------------------------------------------------------------===//
// Sequences
//===----------------------------------------------------------------------===//

def NN_SequenceConstructOp : NN_HostOp<"sequence_construct"> {
  let summary = "The operands as a sequence; `element` is the type of its elements.";
  let arguments = (ins Variadic<NN_Value>:$inputs, TypeAttr:$element);
  let results = (outs NN_SequenceType:$result);
}
def NN_SequenceInsertOp : NN_HostOp<"sequence_insert"> {
  let summary = "A sequence with x before `position` (negative: from the end; none: at the end).";
  let arguments = (ins NN_SequenceType:$sequence, NN_Value:$x, Optional<NN_Tensor>:$position);
  let results = (outs NN_SequenceType:$result);
}
def NN_SequenceEraseOp : NN_HostOp<"sequence_erase"> {
  let summary = "A sequence without the element at `position` (none: the last).";
  let arguments = (ins NN_SequenceType:$sequence, Optional<NN_Tensor>:$position);
  let results = (outs NN_SequenceType:$result);
}
def NN_SequenceAtOp : NN_HostOp<"sequence_at"> {
  let summary = "The element at `position`; `element` is its type.";
  let arguments = (ins NN_SequenceType:$sequence, NN_Tensor:$position, TypeAttr:$element);
  let results = (outs NN_Value:$result);
}
def NN_SequenceLengthOp : NN_HostOp<"sequence_length"> {
  let summary = "The number of elements as an i64 scalar.";
  let arguments = (ins NN_SequenceType:$sequence);
  let results = (outs NN_Tensor:$result);
}
def NN_ConcatFromSequenceOp : NN_HostOp<"concat_from_sequence"> {
  let summary = "The elements (of rank `rank`) one after another along `axis`, which is a new dimension when `new_axis` is set.";
  let arguments = (ins NN_SequenceType:$sequence, I64Attr:$axis, UnitAttr:$new_axis, I64Attr:$rank);
  let results = (outs NN_Tensor:$result);
}
def NN_SplitToSequenceOp : NN_HostOp<"split_to_sequence"> {
  let summary = "Parts of x along `axis`: of `split` elements each (a scalar) or of split[i] elements.";
  let description = [{ Without `split` all parts have one element; `squeeze` then removes the dimension. }];
  let arguments = (ins NN_Tensor:$x, Optional<NN_Tensor>:$split, I64Attr:$axis, UnitAttr:$squeeze);
  let results = (outs NN_SequenceType:$result);
}

//===----------------------------------------------------------------------===//
// Optionals and maps
//===----------------------------------------------------------------------===//

def NN_OptionalConstructOp : NN_HostOp<"optional_construct"> {
  let summary = "An optional with a value, or without one; `element` is the type of the value.";
  let arguments = (ins Optional<NN_Value>:$value, TypeAttr:$element);
  let results = (outs NN_OptionalType:$result);
}
def NN_OptionalGetOp : NN_HostOp<"optional_get"> {
  let summary = "The value of an optional, which must have one; `element` is its type.";
  let arguments = (ins NN_OptionalType:$optional, TypeAttr:$element);
  let results = (outs NN_Value:$result);
}
def NN_OptionalHasOp : NN_HostOp<"optional_has"> {
  let summary = "Whether an optional has a value, as a bool scalar.";
  let arguments = (ins NN_OptionalType:$optional);
  let results = (outs NN_Tensor:$result);
}
def NN_ZipMapOp : NN_HostOp<"zip_map"> {
  let summary = "For each row of x [N, C] a map from the keys (a constant vector) to the row's elements.";
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$keys);
  let results = (outs NN_SequenceType:$result);
}
def NN_MapLookupOp : NN_HostOp<"map_lookup"> {
  let summary = "The values of a map at `keys` (a constant vector) as a row [1, C]; zeros (empty strings) elsewhere.";
  let arguments = (ins NN_MapType:$map, NN_Tensor:$keys);
  let results = (outs NN_Tensor:$result);
}
def NN_MapValuesOp : NN_HostOp<"map_values"> {
  let summary = "The values of a map in the order of its keys (i64) as a row [1, C].";
  let description = [{
    With `max_map` > 0 the row has that many elements and each value stands at the position of its key.
  }];
  let arguments = (ins NN_MapType:$map, I64Attr:$max_map);
  let results = (outs NN_Tensor:$result);
}

#endif
