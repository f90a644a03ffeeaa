//===- Proto.h - names of the messages of onnx.proto ------------*- C++ -*-===//
//
// Import rules outside of this tree see these as opaque: the headers that they include need no
// protobuf.
//
//===----------------------------------------------------------------------===//
#ifndef NNOPT_FRONTEND_ONNX_PROTO_H
#define NNOPT_FRONTEND_ONNX_PROTO_H

namespace nnopt::pb {
class AttributeProto;
class FunctionProto;
class GraphProto;
class NodeProto;
class SparseTensorProto;
class TensorProto;
class TypeProto;
class ValueInfoProto;
} // namespace nnopt::pb

#endif
