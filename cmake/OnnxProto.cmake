# The schema of ONNX files: onnx-ml.proto of the PyPI `onnx` package, taken at configure time and
# compiled by protoc. Set NNOPT_ONNX_PROTO to the file, or NNOPT_PYTHON to an interpreter that has the
# package; by default build/venv (made by tools/setup.sh) and then python3 are asked.
set(NNOPT_ONNX_VERSION 1.23.2)
set(NNOPT_ONNX_PROTO "" CACHE FILEPATH "onnx-ml.proto of the onnx package ${NNOPT_ONNX_VERSION}")

if(NOT NNOPT_ONNX_PROTO)
  set(ask "import importlib.util as u, os; s = u.find_spec('onnx'); print(os.path.join(os.path.dirname(s.origin), 'onnx-ml.proto') if s else '')")
  foreach(python "${NNOPT_PYTHON}" "$ENV{NNOPT_PYTHON}" "${CMAKE_BINARY_DIR}/venv/bin/python" python3)
    if(NOT NNOPT_ONNX_PROTO AND python)
      execute_process(COMMAND ${python} -c "${ask}" OUTPUT_VARIABLE found RESULT_VARIABLE failed
                      OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
      if(NOT failed AND found AND EXISTS "${found}")
        set(NNOPT_ONNX_PROTO "${found}" CACHE FILEPATH "onnx-ml.proto of the onnx package ${NNOPT_ONNX_VERSION}" FORCE)
      endif()
    endif()
  endforeach()
endif()
if(NOT NNOPT_ONNX_PROTO OR NOT EXISTS "${NNOPT_ONNX_PROTO}")
  message(FATAL_ERROR "onnx-ml.proto was not found. Run tools/setup.sh (it installs onnx==${NNOPT_ONNX_VERSION} "
    "into build/venv), or give -DNNOPT_PYTHON=<python with onnx> or -DNNOPT_ONNX_PROTO=<file>.")
endif()
message(STATUS "ONNX schema: ${NNOPT_ONNX_PROTO}")

# Our own package name keeps the generated symbols apart from an `onnx` library that lives in the
# same process (the Python package, for example); the wire format has no package names.
set(proto_dir ${CMAKE_BINARY_DIR}/onnx_proto)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${NNOPT_ONNX_PROTO}")
file(READ "${NNOPT_ONNX_PROTO}" schema)
string(REPLACE "\npackage onnx;" "\npackage nnopt.pb;" schema "${schema}")
if(NOT schema MATCHES "package nnopt.pb;")
  message(FATAL_ERROR "${NNOPT_ONNX_PROTO} has no package statement: not the expected onnx-ml.proto")
endif()
if(NOT schema MATCHES "optimize_for")
  string(APPEND schema "\noption optimize_for = LITE_RUNTIME;\n")
endif()
file(CONFIGURE OUTPUT ${proto_dir}/onnx-ml.proto CONTENT "${schema}" @ONLY)

add_custom_command(OUTPUT ${proto_dir}/onnx-ml.pb.cc ${proto_dir}/onnx-ml.pb.h
  COMMAND protobuf::protoc --cpp_out=${proto_dir} -I ${proto_dir} ${proto_dir}/onnx-ml.proto
  DEPENDS ${proto_dir}/onnx-ml.proto COMMENT "Generating onnx-ml.pb.cc" VERBATIM)
add_library(nnopt_onnx_proto OBJECT ${proto_dir}/onnx-ml.pb.cc ${proto_dir}/onnx-ml.pb.h)
target_include_directories(nnopt_onnx_proto SYSTEM PUBLIC ${proto_dir} ${Protobuf_INCLUDE_DIRS})
target_compile_options(nnopt_onnx_proto PRIVATE -w)
