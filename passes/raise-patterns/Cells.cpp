//===- Cells.cpp - one step of an LSTM or GRU written out -----------------===//
//
// LSTM: c' = sigmoid(f) c + sigmoid(i) tanh(g), h' = sigmoid(o) tanh(c') (Hochreiter and Schmidhuber 1997; with
// forget gates: Gers et al. 2000, equations 3 to 9). GRU: h' = z h + (1 - z) n with n = tanh(W x + R (r h) + b) (Cho
// et al. 2014, equations 5 to 8, where it is called h~) or tanh(W x + b + r (R h + b')). Gates are sums of products
// with constant matrices, several gates side by side in the columns of one product or each by itself.
//
//===----------------------------------------------------------------------===//
#include "passes/raise-patterns/Cells.h"

#include <cmath>

using namespace mlir;

namespace nnopt {
namespace {

//===----------------------------------------------------------------------===//
// Cells
//===----------------------------------------------------------------------===//

class CellMatcher {
public:
  CellMatcher(FuncShapes &shapes) : shapes(shapes) {}
  bool matchLSTM(nn::MulOp last, Cell &cell);
  bool matchGRU(Operation *last, Cell &cell);
  /// Whether nobody else uses what is inside of the cell.
  bool isClosed(const Cell &cell);

private:
  bool begin(Value newState, Cell &cell);
  bool readGate(Value v, Cell &cell, Gate &gate, double sign = 1);
  bool readCandidate(nn::TanhOp tanh, Cell &cell);

  FuncShapes &shapes;
};

bool CellMatcher::begin(Value newState, Cell &cell) {
  Type type = elementTypeOf(newState);
  if ((!type.isF32() && !type.isF64()) || rankOf(newState) != 2 || ShapedType::isDynamic(shapeOf(newState)[1]))
    return false;
  cell.newState = newState;
  cell.units = shapeOf(newState)[1];
  cell.ops.insert(newState.getDefiningOp());
  return true;
}

bool CellMatcher::readGate(Value v, Cell &cell, Gate &gate, double sign) {
  gate.bias.assign(cell.units, 0);
  gate.sign = sign;
  return rankOf(v) == 2 && shapeOf(v)[1] == cell.units && readGateSum(v, cell.units, gate, shapes, cell.ops);
}

/// x where v = sigmoid(x).
static Value sigmoidOf(Value v, llvm::SetVector<Operation *> &ops) {
  auto sigmoid = v.getDefiningOp<nn::SigmoidOp>();
  if (!sigmoid)
    return {};
  ops.insert(sigmoid);
  return sigmoid.getX();
}

static bool isZeros(Value v) {
  auto numbers = numbersOf(v);
  return numbers && llvm::all_of(*numbers, [](double d) { return d == 0; });
}

bool CellMatcher::matchLSTM(nn::MulOp last, Cell &cell) {
  for (unsigned i : {0u, 1u}) {
    cell = Cell();
    if (!begin(last.getResult(), cell))
      return false;
    cell.isLSTM = true;
    Value out = sigmoidOf(last->getOperand(i), cell.ops);
    auto tanh = last->getOperand(1 - i).getDefiningOp<nn::TanhOp>();
    auto sum = tanh ? tanh.getX().getDefiningOp<nn::AddOp>() : nn::AddOp();
    if (!out || !sum)
      continue;
    cell.newMemory = sum.getResult();
    cell.ops.insert(tanh);
    cell.ops.insert(sum);
    // The two products of the memory: one has a tanh of a gate, the other one the memory before.
    for (unsigned j : {0u, 1u}) {
      Cell attempt = cell;
      auto fresh = sum->getOperand(j).getDefiningOp<nn::MulOp>();
      auto kept = sum->getOperand(1 - j).getDefiningOp<nn::MulOp>();
      if (!fresh || !kept)
        break;
      auto read = [&] {
        for (unsigned a : {0u, 1u})
          for (unsigned b : {0u, 1u}) {
            Cell c = attempt;
            c.ops.insert(fresh);
            c.ops.insert(kept);
            Value in = sigmoidOf(fresh->getOperand(a), c.ops), forget = sigmoidOf(kept->getOperand(b), c.ops);
            auto candidate = fresh->getOperand(1 - a).getDefiningOp<nn::TanhOp>();
            // With one gate for two purposes there would be more products than there are.
            if (!in || !forget || !candidate || in == forget || in == out || forget == out)
              continue;
            c.ops.insert(candidate);
            c.gates.resize(4);
            if (!readGate(in, c, c.gates[0]) || !readGate(out, c, c.gates[1]) || !readGate(forget, c, c.gates[2]) ||
                !readGate(candidate.getX(), c, c.gates[3]))
              continue;
            c.memory = kept->getOperand(1 - b);
            if (isZeros(c.memory))
              c.memory = {};
            else if (!shapes.sameDims(c.memory, c.newState))
              continue;
            attempt = c;
            return true;
          }
        return false;
      };
      if (read()) {
        cell = std::move(attempt);
        return true;
      }
    }
  }
  return false;
}

/// The last gate of a GRU: r (R h + b') + W x + b, or a sum of products in which the state was multiplied by r.
bool CellMatcher::readCandidate(nn::TanhOp tanh, Cell &cell) {
  cell.ops.insert(tanh);
  if (auto add = tanh.getX().getDefiningOp<nn::AddOp>())
    for (unsigned i : {0u, 1u})
      for (unsigned j : {0u, 1u}) {
        auto mul = add->getOperand(i).getDefiningOp<nn::MulOp>();
        auto reset = mul ? mul->getOperand(j).getDefiningOp<nn::SigmoidOp>() : nn::SigmoidOp();
        Cell c = cell;
        Gate product;
        if (!reset || !readGate(reset.getX(), c, c.gates[1]) || !readGate(mul->getOperand(1 - j), c, product) ||
            !readGate(add->getOperand(1 - i), c, c.gates[2]))
          continue;
        for (Operation *op : {add.getOperation(), mul.getOperation(), reset.getOperation()})
          c.ops.insert(op);
        c.resetProduct = product;
        cell = std::move(c);
        return true;
      }
  if (!readGate(tanh.getX(), cell, cell.gates[2]))
    return false;
  // The term whose activation is r h.
  for (GateTerm &term : cell.gates[2].terms) {
    auto mul = term.activation.getDefiningOp<nn::MulOp>();
    for (unsigned i : {0u, 1u}) {
      Value state = mul ? mul->getOperand(1 - i) : Value();
      if (!state || (cell.state ? state != cell.state : !isZeros(state)))
        continue;
      Value gate = sigmoidOf(mul->getOperand(i), cell.ops);
      if (!gate || !readGate(gate, cell, cell.gates[1]))
        continue;
      cell.ops.insert(mul);
      term.activation = cell.state = state;
      return true;
    }
  }
  return false;
}

/// Whether two gates are the same parts of the same products.
static bool areSame(const Gate &a, const Gate &b) {
  return a.terms.size() == b.terms.size() && llvm::all_of(llvm::zip_equal(a.terms, b.terms), [](auto pair) {
           const auto &[x, y] = pair;
           return x.matrix == y.matrix && x.firstUnit == y.firstUnit && x.firstInput == y.firstInput;
         });
}

bool CellMatcher::matchGRU(Operation *last, Cell &cell) {
  // 1 - v.
  auto complement = [](Value v) {
    auto sub = v.getDefiningOp<nn::SubOp>();
    return sub && isScalar(sub.getLhs(), 1) ? sub.getRhs() : Value();
  };
  struct Parts {
    Value update, candidate, state; // update (a sigmoid) is the share of the state, or of the candidate
    bool ofCandidate;
    SmallVector<Operation *> ops;
  };
  SmallVector<Parts> ways;
  auto sum = dyn_cast<nn::AddOp>(last);
  for (unsigned i : {0u, 1u}) {
    // Of a state of zeros nothing is left: u n, or (1 - u) n.
    if (auto mul = dyn_cast<nn::MulOp>(last)) {
      Value u = complement(mul->getOperand(i)), n = mul->getOperand(1 - i);
      ways.push_back({u ? u : mul->getOperand(i), n, {}, !u, {}});
      if (u)
        ways.back().ops.push_back(mul->getOperand(i).getDefiningOp());
    }
    if (!sum)
      continue;
    Value p = sum->getOperand(i), q = sum->getOperand(1 - i);
    auto mulQ = q.getDefiningOp<nn::MulOp>(), mulP = p.getDefiningOp<nn::MulOp>();
    if (!mulQ)
      continue;
    for (unsigned j : {0u, 1u}) {
      // p + u (s - p)
      auto difference = mulQ->getOperand(1 - j).getDefiningOp<nn::SubOp>();
      if (difference && difference.getRhs() == p) {
        bool ofCandidate = bool(difference.getLhs().getDefiningOp<nn::TanhOp>());
        Value s = difference.getLhs();
        ways.push_back(
            {mulQ->getOperand(j), ofCandidate ? s : p, ofCandidate ? p : s, ofCandidate, {mulQ, difference}});
      }
      // u s + (1 - u) p
      for (unsigned k : {0u, 1u}) {
        Value u = mulP ? complement(mulP->getOperand(k)) : Value();
        if (!u || u != mulQ->getOperand(j))
          continue;
        Value s = mulQ->getOperand(1 - j), t = mulP->getOperand(1 - k);
        bool ofCandidate = bool(s.getDefiningOp<nn::TanhOp>());
        ways.push_back({u, ofCandidate ? s : t, ofCandidate ? t : s, ofCandidate,
                        {mulQ, mulP, mulP->getOperand(k).getDefiningOp()}});
      }
    }
  }
  for (Parts &parts : ways) {
    cell = Cell();
    auto tanh = parts.candidate.getDefiningOp<nn::TanhOp>();
    if (!begin(last->getResult(0), cell) || !tanh || (parts.state && !shapes.sameDims(parts.state, cell.newState)))
      continue;
    cell.ops.insert(parts.ops.begin(), parts.ops.end());
    cell.state = parts.state;
    cell.gates.resize(3);
    Value update = sigmoidOf(parts.update, cell.ops);
    // 1 - sigmoid(a) = sigmoid(-a).
    if (update && readGate(update, cell, cell.gates[0], parts.ofCandidate ? -1 : 1) && readCandidate(tanh, cell) &&
        !areSame(cell.gates[0], cell.gates[1]))
      return true;
  }
  return false;
}

bool CellMatcher::isClosed(const Cell &cell) {
  for (Operation *op : cell.ops) {
    if (op->getBlock() != cell.newState.getDefiningOp()->getBlock())
      return false;
    for (Value result : op->getResults())
      if (result != cell.newState && result != cell.newMemory &&
          !llvm::all_of(result.getUsers(), [&](Operation *user) { return cell.ops.contains(user); }))
        return false;
  }
  return true;
}

} // namespace

//===----------------------------------------------------------------------===//
// Interface
//===----------------------------------------------------------------------===//

bool assignState(Cell &cell, llvm::function_ref<bool(Value)> isState) {
  if (cell.state && isZeros(cell.state) && !cell.gates[0].termOf(cell.state)) {
    for (Gate &gate : cell.gates)
      llvm::erase_if(gate.terms, [&](const GateTerm &t) { return t.activation == cell.state; });
    cell.state = {};
  }
  // Every gate has the same one or two activations.
  SmallVector<Value> all;
  for (const Gate &gate : cell.gates)
    for (const GateTerm &term : gate.terms)
      if (!llvm::is_contained(all, term.activation))
        all.push_back(term.activation);
  if (cell.isLSTM) {
    auto canBe = [&](Value v) {
      return shapeOf(v).back() == cell.units && rankOf(v) == 2;
    };
    if (all.size() == 2) {
      // The one that is known; else the one that comes from outside; else the second.
      bool first = canBe(all[0]), second = canBe(all[1]);
      if (first && second && isState(all[0]) != isState(all[1]))
        first = isState(all[0]), second = !first;
      else if (first && second)
        first = !all[0].getDefiningOp() && all[1].getDefiningOp();
      if (first && second)
        first = false;
      if (!first && !second)
        return false;
      cell.state = all[first ? 0 : 1];
    }
  }
  llvm::erase(all, cell.state);
  if (all.size() != 1)
    return false;
  cell.input = all.front();
  for (const Gate &gate : cell.gates) {
    bool isApart = &gate == &cell.gates.back() && cell.resetProduct;
    bool hasState = cell.state && !isApart;
    if (gate.terms.size() != (hasState ? 2u : 1u) || !gate.termOf(cell.input) || (hasState && !gate.termOf(cell.state)))
      return false;
  }
  if (!cell.resetProduct)
    return true;
  return cell.resetProduct->terms.size() == (cell.state ? 1u : 0u) &&
         (!cell.state || cell.resetProduct->termOf(cell.state));
}

std::optional<Cell> matchCell(Value v, FuncShapes &shapes) {
  CellMatcher matcher(shapes);
  Cell cell;
  Operation *op = v.getDefiningOp();
  bool matched = false;
  if (auto mul = dyn_cast_or_null<nn::MulOp>(op))
    matched = matcher.matchLSTM(mul, cell);
  if (!matched && op)
    matched = matcher.matchGRU(op, cell);
  if (!matched || !matcher.isClosed(cell))
    return std::nullopt;
  return cell;
}

} // namespace nnopt
