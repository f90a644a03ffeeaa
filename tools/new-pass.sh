#!/usr/bin/env bash
# Makes the folder of a new pass and its tests: a small pass that works, to be replaced step by step.
#
#   tools/new-pass.sh NAME "One sentence: what it does"        NAME in kebab-case: fold-double-negation
#
# Writes passes/NAME/{Name.td,Name.cpp} and test/passes/NAME/{doctest,errors}.mlir. The build finds them; then
#   nnopt-opt --NAME ...          and          lit -v test/passes/NAME
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

name=${1:-} summary=${2:-}
if ! [[ $name =~ ^[a-z][a-z0-9]*(-[a-z0-9]+)*$ ]] || [ -z "$summary" ]; then
  sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
if [ -e "passes/$name" ] || [ -e "test/passes/$name" ]; then
  echo "tools/new-pass.sh: passes/$name or test/passes/$name exists already" >&2
  exit 1
fi
class=$(sed -E 's/(^|-)([a-z0-9])/\U\2/g' <<<"$name")
banner() { printf '//===- %s - %s ' "$1" "$2" | awk '{n = 75 - length($0); if (n < 1) n = 1; printf "%s", $0; while (n--) printf "-"; print "===//"}'; }
# The sentence stands in strings of tablegen.
summary=${summary%.}
quoted=${summary//\"/\\\"}

mkdir -p "passes/$name" "test/passes/$name"
cat >"passes/$name/$class.td" <<END
def $class : Pass<"$name", "::mlir::func::FuncOp"> {
  let summary = "$quoted";
  let description = [{
    \`-(-x) = x\` for every x.

    Conditions: none. (State each condition that the code checks, and where a formula comes from.)

    Doctest: test/passes/$name/doctest.mlir
  }];
  let dependentDialects = ["::nnopt::nn::NNDialect"];
  let statistics = [Statistic<"numRewritten", "rewritten", "Operations rewritten">];
}
END
{
  banner "$class.cpp" "${summary,}"
  cat <<END
#include "passes/Passes.h"
#include "passes/common/Rewrite.h"

using namespace mlir;

namespace nnopt {
#define GEN_PASS_DEF_${class^^}
#include "passes/Passes.h.inc"
} // namespace nnopt

namespace nnopt {
namespace {

constexpr StringLiteral kPass = "$name";

struct ${class}Pass : impl::${class}Base<${class}Pass> {
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    SmallVector<nn::NegOp> ops;
    getOperation().walk([&](nn::NegOp op) { ops.push_back(op); });
    for (nn::NegOp op : ops) {
      auto inner = op.getX().getDefiningOp<nn::NegOp>();
      if (!inner) {
        missedRemark(op.getLoc(), kPass, "kept") << remark::reason("its operand is not a negation");
        continue;
      }
      passedRemark(fusedLoc({inner, op}), kPass, "rewritten");
      rewriter.replaceOp(op, inner.getX());
      ++numRewritten;
    }
    eraseDeadOps(getOperation(), rewriter);
  }
};

} // namespace
} // namespace nnopt
END
} >"passes/$name/$class.cpp"

cat >"test/passes/$name/doctest.mlir" <<END
// $summary.
// RUN: nnopt-opt %s --$name | FileCheck %s

// CHECK-LABEL: func @twice
func.func @twice(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // CHECK-NEXT: return %arg0
  %0 = nn.neg %x : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %1 = nn.neg %0 : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return %1 : tensor<?x8xf32>
}
END
cat >"test/passes/$name/errors.mlir" <<END
// What stays, and the reason that is given.
// RUN: nnopt-opt %s --$name --split-input-file -verify-diagnostics --remarks-filter=".*" --remark-format=emitRemark | FileCheck %s

// CHECK-LABEL: func @once
// CHECK: nn.neg
func.func @once(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // expected-remark @+1 {{its operand is not a negation}}
  %0 = nn.neg %x : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}
END
echo "passes/$name/$class.td passes/$name/$class.cpp test/passes/$name/doctest.mlir test/passes/$name/errors.mlir"
