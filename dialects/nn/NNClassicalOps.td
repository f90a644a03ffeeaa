//===- NNClassicalOps.td - trees, tables, n-grams ---------------*- tablegen -*-===//
//
// What ai.onnx.ml needs beyond compositions of other operations. Tables are constant operands.
//
//===----------------------------------------------------------------------===//
#ifndef NN_CLASSICAL_OPS_TD
#define NN_CLASSICAL_OPS_TD

include "dialects/nn/NNBase.td"

def NN_TreeAggregate : NN_Enum<"TreeAggregate", "How the leaves of an ensemble combine", ["sum", "average", "min", "max"]>;
def NN_TreeAggregateAttr : EnumAttr<NN_Dialect, NN_TreeAggregate, "tree_aggregate"> { let assemblyFormat = "`<` $value `>`"; }

def NN_LookupOp : NN_Op<"lookup"> {
  let summary = "Position (i64) of each element of x in `keys`, -1 where it is none of them.";
  let description = [{ The keys are sorted, of the type of x, and distinct; a NaN among them is the last and equals NaN. }];
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$keys);
  let results = (outs NN_Tensor:$result);
}
def NN_TreeEnsembleOp : NN_Op<"tree_ensemble"> {
  let summary = "Sums (means, minima, maxima) of the weights of the leaves that decision trees reach for each row of x.";
  let description = [{
    x is [N, features]. Node i (i32 [nodes, 4]) compares feature nodes[i][0] with thresholds[i] and goes on at
    nodes[i][1] if one of the bits nodes[i][3] holds (1: less, 2: equal, 4: greater, 8: unordered), else at
    nodes[i][2]. A negative number ~l is leaf l: its weights are entries leaf_begin[l] .. leaf_begin[l + 1] of
    `targets` (column of the result) and `weights`. Trees start at `roots` (a node or a leaf). The result is
    [N, num_targets]; a column that no leaf mentions is 0.
  }];
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$nodes, NN_Tensor:$thresholds, NN_Tensor:$roots,
                       NN_Tensor:$leaf_begin, NN_Tensor:$targets, NN_Tensor:$weights, I64Attr:$num_targets,
                       NN_TreeAggregateAttr:$aggregate);
  let results = (outs NN_Tensor:$result);
}
def NN_NGramCountOp : NN_Op<"ngram_count"> {
  let summary = "How often n-grams occur in each row of x ([C] or [N, C], i64): f32 [columns] or [N, columns].";
  let description = [{
    The n-grams are paths in a tree: node i has the edges node_begin[i] .. node_begin[i + 1], sorted by edge_keys
    (i64), that lead to nodes edge_nodes; a path that ends in node i counts for column columns_of[i] (-1: none).
    Elements of an n-gram are 1 .. max_skip + 1 positions apart, all alike; n is min_length .. max_length, and
    1-grams count once.
  }];
  let arguments = (ins NN_Tensor:$x, NN_Tensor:$node_begin, NN_Tensor:$edge_keys, NN_Tensor:$edge_nodes,
                       NN_Tensor:$columns_of, I64Attr:$columns, I64Attr:$min_length, I64Attr:$max_length,
                       I64Attr:$max_skip);
  let results = (outs NN_Tensor:$result);
}

#endif
