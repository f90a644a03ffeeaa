//===- Layers.cpp - the lowered program as a table --------------------------===//

#include "lib/report/Layers.h"

namespace json = llvm::json;

namespace nnopt::report {

namespace {

class Table {
public:
  Table(const Program &program, const Graph &graph, const Sizes &sizes, const Measurement *measured)
      : program(program), graph(graph), sizes(sizes), measured(measured) {
    // Where blocks are skipped or repeated, the n-th copy that runs is not the n-th of the program.
    copiesMatch = program.blocks.size() == 1;
  }

  void addBlock(uint32_t number) {
    const nnopt_block &block = program.blocks[number];
    for (const nnopt_instruction &in : llvm::ArrayRef(program.instructions).slice(block.first, block.count)) {
      switch (in.op) {
      case NNOPT_I_LAUNCH:
        add(launch(in.a), number);
        break;
      case NNOPT_I_COPY:
        add(copy(in), number);
        break;
      case NNOPT_I_IF:
        addBlock(in.b);
        addBlock(in.c);
        break;
      case NNOPT_I_LOOP:
        addBlock(program.indices[in.a + 3]);
        break;
      }
    }
  }
  json::Array rows;

private:
  void add(json::Object row, uint32_t block) {
    row["id"] = int64_t(rows.size());
    if (block != 0)
      row["block"] = int64_t(block);
    rows.push_back(std::move(row));
  }

  json::Object launch(uint32_t number) {
    const ProgramLaunch &l = program.launches[number];
    json::Object row{{"launch", int64_t(number)},
                     {"op", l.op},
                     {"kernel", program.kernelNames[l.kernel]},
                     {"emitter", l.emitter},
                     {"flops", evaluate(l.flops, sizes)},
                     {"bytes", evaluate(l.bytes, sizes)},
                     {"tasks", evaluate(l.tasks, sizes)}};
    row["nodes"] = l.operation ? originsOf(l.operation->getLoc()) : json::Array();
    if (std::optional<size_t> node = graph.nodeOf(l.operation))
      row["node"] = int64_t(*node);
    if (measured) {
      row["calls"] = measured->calls[number];
      if (measured->calls[number] != 0)
        row["ms"] = measured->launches[number];
    }
    return row;
  }

  json::Object copy(const nnopt_instruction &in) {
    std::optional<int64_t> bytes = evaluate(program.expression(in.c), sizes);
    // Read and written.
    json::Object row{{"op", "copy"}, {"kernel", "copy"}, {"emitter", "copy"}, {"nodes", json::Array()}, {"flops", 0}};
    row["bytes"] = bytes ? std::optional(2 * *bytes) : std::nullopt;
    if (measured && copiesMatch && copies < measured->copies.size())
      row["ms"] = measured->copies[copies];
    ++copies;
    return row;
  }

  const Program &program;
  const Graph &graph;
  const Sizes &sizes;
  const Measurement *measured;
  size_t copies = 0;
  bool copiesMatch;
};

} // namespace

json::Array layersOf(const Program &program, const Graph &graph, const Sizes &sizes, const Measurement *measured) {
  Table table(program, graph, sizes, measured);
  table.addBlock(0);
  return std::move(table.rows);
}

} // namespace nnopt::report
