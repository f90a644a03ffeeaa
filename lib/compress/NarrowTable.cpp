//===- NarrowTable.cpp - tables of embeddings in fewer bits -----------------===//

#include "lib/compress/NarrowTable.h"
#include "lib/compress/WidenedConstants.h"

using namespace mlir;

namespace nnopt::compress {

/// A table with less than this share of the model's constant floats stays as it is: positions, angles of rotations.
constexpr double kLeastShare = 0.005;

static int64_t constantFloats(Operation *inside) {
  int64_t count = 0;
  for (nn::ConstantOp c : inside->getBlock()->getOps<nn::ConstantOp>())
    count += isa<FloatType>(c.getType().getElementType()) ? c.getType().getNumElements() : 0;
  return count;
}

bool NarrowTable::isTable(nn::GatherOp op) {
  return isConstant(op.getX()) && !isConstant(op.getIndices()) && op.getAxis() == 0 && rankOf(op.getX()) == 2 &&
         elementTypeOf(op.getX()).isF32();
}

std::string NarrowTable::whyNot(nn::GatherOp op) {
  if (!isTable(op))
    return "it does not take rows of a constant matrix of 32-bit floats";
  std::optional<nn::ConstantData> table = nn::ConstantData::get(op.getX());
  if (!table)
    return "its table is not known";
  if (double(table->size()) < kLeastShare * double(constantFloats(op)))
    return "its table has less than 0.5 % of the parameters";
  if (llvm::any_of(table->asFloats(), [](float v) { return !std::isfinite(v); }))
    return "an element of its table is infinite or NaN";
  return "";
}

std::vector<Option> NarrowTable::options(StringRef only, int64_t group) {
  std::vector<Option> result;
  auto wanted = [&](StringRef name) { return only.empty() || only == name; };
  for (const char *name : {"bf16", "f16", "w8"})
    if (wanted(name))
      result.push_back({name, "", nlohmann::json::object(), {}});
  if (wanted("w4"))
    for (const char *variant : {"symmetric", "asymmetric"})
      result.push_back({"w4", variant, {{"group", groupFor(shapeOf(op.getX())[1], group)}}, {}});
  return result;
}

std::string NarrowTable::check(const Option &option) {
  if (option.name != "w4")
    return "";
  const nlohmann::json &p = option.parameters;
  auto group = p.is_object() ? p.find("group") : p.end();
  int64_t columns = shapeOf(op.getX())[1];
  if (group == p.end() || !group->is_number_integer() || group->get<int64_t>() < 1 || columns % group->get<int64_t>() ||
      (*group != columns && group->get<int64_t>() % kGroupUnit))
    return "w4 of a table needs a 'group', a multiple of 8 that divides its " + std::to_string(columns) + " columns";
  return "";
}

Value NarrowTable::apply(RewriterBase &rewriter, const Option &option) {
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPoint(op);
  ArrayRef<int64_t> shape = shapeOf(op.getX());
  std::vector<float> values = nn::ConstantData::get(op.getX())->asFloats();
  Value table;
  if (option.name == "bf16" || option.name == "f16") {
    table = widenedHalves(rewriter, op.getLoc(), values, shape, option.name);
  } else {
    RoundingGrid grid{8, shape[1], true};
    if (option.name == "w4")
      grid = {4, option.parameters["group"].get<int64_t>(), option.variant != "asymmetric"};
    RoundedWeights rounded = roundToNearest(Eigen::Map<const Matrix>(values.data(), shape[0], shape[1]), grid, {});
    table = widenedIntegers(rewriter, op.getLoc(), rounded, grid.bits, shape, /*rowsLast=*/false);
  }
  return nn::GatherOp::create(rewriter, op.getLoc(), untyped(rewriter.getF32Type()), table, op.getIndices(), op.getAxisAttr());
}

} // namespace nnopt::compress
