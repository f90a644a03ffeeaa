//===- NNBase.td - the nn dialect and its base classes ----------*- tablegen -*-===//
#ifndef NN_BASE_TD
#define NN_BASE_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "dialects/nn/NNInterfaces.td"

def NN_Dialect : Dialect {
  let name = "nn";
  let cppNamespace = "::nnopt::nn";
  let summary = "Neural network graphs on ranked tensors";
  let description = [{
    A small core to which an import rule per ONNX operator and opset maps. Operations have value
    semantics on ranked tensors; unknown dimensions are `?` and are related to each other by the
    symbolic shape analysis (`ShapeFunction`, `nn::Dim`), never by the types. The location of an
    operation holds the names of the ONNX nodes it came from.

    Element types: `f64 f32 f16 bf16`, the 8-bit floats, `f4E2M1FN`, `i1` (bool), signless
    `i2 i4 i8 i16 i32 i64` (ONNX signed integers) and `ui2 ui4 ui8 ui16 ui32 ui64`, and `!nn.string`.
    What is narrower than a byte takes one byte in memory (signed integers sign-extended).

    Strings, sequences, optionals and maps are *host values*: the runtime keeps them as opaque objects and
    library operations (NNHostOps.td) work on them; no kernel sees them.
  }];
  let useDefaultAttributePrinterParser = 1;
  let useDefaultTypePrinterParser = 1;
  let hasConstantMaterializer = 1;
}

def NN_Tensor : Type<CPred<"::llvm::isa<::mlir::RankedTensorType>($_self)">, "ranked tensor",
                     "::mlir::RankedTensorType">;
def NN_ShapeTensor : Type<CPred<"::llvm::isa<::mlir::RankedTensorType>($_self) && "
    "::llvm::cast<::mlir::RankedTensorType>($_self).getElementType().isSignlessInteger()">,
    "ranked tensor of signed integers", "::mlir::RankedTensorType">;

//===----------------------------------------------------------------------===//
// Host values
//===----------------------------------------------------------------------===//

class NN_Type<string name, string typeMnemonic> : TypeDef<NN_Dialect, name> { let mnemonic = typeMnemonic; }
def NN_StringType : NN_Type<"String", "string"> {
  let summary = "Element type of tensors of byte strings (UTF-8 as ONNX says).";
}
def NN_SequenceType : NN_Type<"Sequence", "sequence"> {
  let summary = "A list of tensors (or maps) of one element type.";
  let description = [{
    The element is a ranked tensor type, or an unranked one where the ranks are not known or differ.
  }];
  let parameters = (ins "::mlir::Type":$element);
  let assemblyFormat = "`<` $element `>`";
}
def NN_OptionalType : NN_Type<"Optional", "optional"> {
  let summary = "A tensor or sequence that may be absent.";
  let parameters = (ins "::mlir::Type":$element);
  let assemblyFormat = "`<` $element `>`";
}
def NN_MapType : NN_Type<"Map", "map"> {
  let summary = "A dictionary from i64 or string keys to numbers.";
  let parameters = (ins "::mlir::Type":$key, "::mlir::Type":$value);
  let assemblyFormat = "`<` $key `,` $value `>`";
}

def NN_StringTensor : Type<CPred<"::llvm::isa<::mlir::RankedTensorType>($_self) && "
    "::llvm::isa<::nnopt::nn::StringType>(::llvm::cast<::mlir::RankedTensorType>($_self).getElementType())">,
    "ranked tensor of strings", "::mlir::RankedTensorType">;
/// What results of control flow, and values in sequences, may be.
def NN_Value : Type<CPred<"::llvm::isa<::mlir::RankedTensorType, ::nnopt::nn::SequenceType, "
    "::nnopt::nn::OptionalType, ::nnopt::nn::MapType>($_self)">, "tensor, sequence, optional or map">;

class NN_Enum<string name, string summary, list<string> cases>
    : I32EnumAttr<name, summary, !foreach(i, !range(!size(cases)), I32EnumAttrCase<cases[i], i>)> {
  let cppNamespace = "::nnopt::nn";
  let genSpecializedAttr = 0;
}
def NN_PadMode : NN_Enum<"PadMode", "What padding holds", ["constant", "reflect", "edge", "wrap"]>;
def NN_PadModeAttr : EnumAttr<NN_Dialect, NN_PadMode, "pad_mode"> { let assemblyFormat = "`<` $value `>`"; }
def NN_ReduceKind : NN_Enum<"ReduceKind", "What a reduction computes", ["sum", "mean", "max", "min", "prod", "l1", "l2", "sum_square", "log_sum", "log_sum_exp"]>;
def NN_ReduceKindAttr : EnumAttr<NN_Dialect, NN_ReduceKind, "reduce_kind"> { let assemblyFormat = "`<` $value `>`"; }
def NN_ScatterReduction : NN_Enum<"ScatterReduction", "How scattered updates combine", ["none", "add", "mul", "min", "max"]>;
def NN_ScatterReductionAttr : EnumAttr<NN_Dialect, NN_ScatterReduction, "scatter_reduction"> { let assemblyFormat = "`<` $value `>`"; }
def NN_ResizeMode : NN_Enum<"ResizeMode", "Interpolation", ["nearest", "linear", "cubic"]>;
def NN_ResizeModeAttr : EnumAttr<NN_Dialect, NN_ResizeMode, "resize_mode"> { let assemblyFormat = "`<` $value `>`"; }
def NN_CoordinateMode : NN_Enum<"CoordinateMode", "Result to source coordinates", ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize", "tf_half_pixel_for_nn"]>;
def NN_CoordinateModeAttr : EnumAttr<NN_Dialect, NN_CoordinateMode, "coordinate_mode"> { let assemblyFormat = "`<` $value `>`"; }
def NN_NearestMode : NN_Enum<"NearestMode", "Rounding of nearest", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]>;
def NN_NearestModeAttr : EnumAttr<NN_Dialect, NN_NearestMode, "nearest_mode"> { let assemblyFormat = "`<` $value `>`"; }
def NN_SamplePadding : NN_Enum<"SamplePadding", "What lies outside of a sampled image", ["zeros", "border", "reflection"]>;
def NN_SamplePaddingAttr : EnumAttr<NN_Dialect, NN_SamplePadding, "sample_padding"> { let assemblyFormat = "`<` $value `>`"; }
def NN_RoundMode : NN_Enum<"RoundMode", "Rounding to a power of two (f8E8M0FNU)", ["up", "down", "nearest"]>;
def NN_RoundModeAttr : EnumAttr<NN_Dialect, NN_RoundMode, "round_mode"> { let assemblyFormat = "`<` $value `>`"; }
def NN_Direction : NN_Enum<"Direction", "Direction of a recurrent cell", ["forward", "reverse", "bidirectional"]>;
def NN_DirectionAttr : EnumAttr<NN_Dialect, NN_Direction, "direction"> { let assemblyFormat = "`<` $value `>`"; }
def NN_EmptyRows : NN_Enum<"EmptyRows", "What attention gives where no key takes part", ["nan", "nan_to_zero", "zero"]>;
def NN_EmptyRowsAttr : EnumAttr<NN_Dialect, NN_EmptyRows, "empty_rows"> { let assemblyFormat = "`<` $value `>`"; }

def NN_Distribution : NN_Enum<"Distribution", "Of random numbers", ["uniform", "normal"]>;
def NN_DistributionAttr : EnumAttr<NN_Dialect, NN_Distribution, "distribution"> { let assemblyFormat = "`<` $value `>`"; }

/// Operations without side effects; all of them have a shape function.
class NN_Op<string mnemonic, list<Trait> traits = []>
    : Op<NN_Dialect, mnemonic, !listconcat([Pure, DeclareOpInterfaceMethods<NN_ShapeFunction>], traits)> {
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

/// An operation whose axes can be narrowed; one of NN_NarrowedOp has attributes or operands to adapt.
class NN_TiedOp<string mnemonic, list<Trait> traits = []>
    : NN_Op<mnemonic, !listconcat([DeclareOpInterfaceMethods<NN_AxisDependency>], traits)>;
class NN_NarrowedOp<string mnemonic, list<Trait> traits = []>
    : NN_Op<mnemonic, !listconcat([DeclareOpInterfaceMethods<NN_AxisDependency, ["narrow"]>], traits)>;

/// An operation of the host library (runtime/ops): called by its mnemonic with its attributes. Numbers among the
/// operands and results are tensors as everywhere.
class NN_HostOp<string mnemonic, list<Trait> traits = []>
    : NN_Op<mnemonic, !listconcat([NN_HostCall], traits)>;

/// One result whose elements depend on the operands' elements at the same broadcast position. The
/// shape function (broadcast of all operands) and the result's element type come from
/// `inferElementwise` (ShapeFunctions.cpp).
class NN_ElementwiseOp<string mnemonic, list<Trait> traits = []>
    : Op<NN_Dialect, mnemonic,
         !listconcat([Pure, NN_ShapeFunction, NN_AxisDependency, DeclareOpInterfaceMethods<NN_Elementwise>], traits)> {
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
  let extraClassDeclaration = [{
    ::mlir::LogicalResult inferShapes(::nnopt::nn::ShapeContext &ctx) {
      return ::nnopt::nn::inferElementwise(*this, ctx);
    }
    void tieAxes(::nnopt::nn::AxisTies &ties) { ::nnopt::nn::tieElementwise(*this, ties); }
  }];
}

/// A contraction with weight, bias and epilogue.
class NN_LinearOpBase<string mnemonic>
    : NN_NarrowedOp<mnemonic, [IsolatedFromAbove, AttrSizedOperandSegments,
                       DeclareOpInterfaceMethods<NN_LinearOp, ["getGroups", "areGroupsAlongWeightOut"]>]> {
  let extraClassDeclaration = [{
    /// The type of the first result.
    ::mlir::RankedTensorType getType() { return getResult().getType(); }
  }];
}

#endif
