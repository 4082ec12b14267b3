/* Runs a SavedModel without Python.

   client FOLDER INPUT OUTPUT INDEX NUMBERS DIM...

   Feeds the float32 numbers of standard input, of shape DIM..., to the operation INPUT, and writes
   NUMBERS float32 numbers of output INDEX of the operation OUTPUT to standard output. Returns 2 if
   TensorFlow reports an error, which it prints.

   gcc client.c -I$TF/include -L$TF -l:libtensorflow_cc.so.2 -l:libtensorflow_framework.so.2 */

#include <stdio.h>
#include <stdlib.h>

#include "tensorflow/c/c_api.h"

static void check(TF_Status *status) {
  if (TF_GetCode(status) == TF_OK) return;
  fprintf(stderr, "%s\n", TF_Message(status));
  exit(2);
}

int main(int argc, char **argv) {
  int64_t dims[8];
  int rank = argc - 6;
  size_t count = 1, numbers = strtoul(argv[5], NULL, 10);
  for (int i = 0; i < rank; ++i) count *= dims[i] = atoll(argv[6 + i]);

  TF_Status *status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  const char *tags[] = {"serve"};
  TF_Session *session =
      TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(status);

  TF_Tensor *input = TF_AllocateTensor(TF_FLOAT, dims, rank, count * sizeof(float));
  if (fread(TF_TensorData(input), sizeof(float), count, stdin) != count) return 3;
  TF_Output feed = {TF_GraphOperationByName(graph, argv[2]), 0};
  TF_Output fetch = {TF_GraphOperationByName(graph, argv[3]), atoi(argv[4])};
  if (!feed.oper || !fetch.oper) return 4;
  TF_Tensor *output = NULL;
  TF_SessionRun(session, NULL, &feed, &input, 1, &fetch, &output, 1, NULL, 0, NULL, status);
  check(status);
  if (TF_TensorByteSize(output) != numbers * sizeof(float)) return 5;
  fwrite(TF_TensorData(output), sizeof(float), numbers, stdout);
  return 0;
}
