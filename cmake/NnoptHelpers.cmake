# Every compiler source file uses one precompiled header: a file that includes the common MLIR
# headers takes 6-8 s without it and well under a second with it. The dialect is part of it, since
# parsing its generated classes takes 2 s.
add_library(nnopt_pch OBJECT ${CMAKE_SOURCE_DIR}/cmake/pch.cpp)
target_precompile_headers(nnopt_pch PRIVATE ${CMAKE_SOURCE_DIR}/cmake/pch.h)
target_compile_options(nnopt_pch PRIVATE -Wall -Wno-unused-parameter -fpch-instantiate-templates)

# nnopt_objects(NAME): an object library of all *.cpp files in the current folder and below;
# libnnoptc.so is made of these.
set_property(GLOBAL PROPERTY NNOPT_OBJECTS "")
function(nnopt_objects name)
  cmake_parse_arguments(ARG "" "" "DEPENDS;EXCLUDE" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  foreach(pattern ${ARG_EXCLUDE})
    list(FILTER sources EXCLUDE REGEX ${pattern})
  endforeach()
  add_library(${name} OBJECT ${sources})
  target_precompile_headers(${name} REUSE_FROM nnopt_pch)
  target_compile_options(${name} PRIVATE -Wall -Wno-unused-parameter -fpch-instantiate-templates)
  if(ARG_DEPENDS)
    add_dependencies(${name} ${ARG_DEPENDS})
  endif()
  set_property(GLOBAL APPEND PROPERTY NNOPT_OBJECTS ${name})
endfunction()

# nnopt_uses_compiler(TARGET): a program or plugin on libnnoptc.so and its headers.
function(nnopt_uses_compiler target)
  # As the precompiled header is: -fPIC, not the -fPIE of executables, and without a symbol of this library's own.
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF DEFINE_SYMBOL "")
  target_precompile_headers(${target} REUSE_FROM nnopt_pch)
  target_compile_options(${target} PRIVATE -fPIC -Wall -Wno-unused-parameter -fpch-instantiate-templates)
  add_dependencies(${target} nnopt_nn_inc nnopt_passes_inc)
  target_link_libraries(${target} PRIVATE nnoptc)
endfunction()

# nnopt_tablegen(OUT.inc GENERATOR... FILE.td): runs mlir-tblgen beside the current build folder.
macro(nnopt_tablegen td)
  set(LLVM_TARGET_DEFINITIONS ${td})
  set(nnopt_tablegen_outputs ${ARGN})
  while(nnopt_tablegen_outputs)
    list(POP_FRONT nnopt_tablegen_outputs out gen)
    string(REPLACE "|" ";" gen "${gen}")
    mlir_tablegen(${out} ${gen} EXTRA_INCLUDES ${CMAKE_SOURCE_DIR})
  endwhile()
endmacro()
